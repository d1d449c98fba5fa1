import { metrics } from '@capstan/platform';
import { proves } from '../../../../test/support/proves.js';
import { countRequest } from './gateway-metrics.js';

describe('the figures of the gateway', () => {
  it(
    'have a series for each model with a list price and one for all others, whatever agents call them',
    proves('ORC-L3', async () => {
      const record = { attempts: 1, requestId: '', isStream: false, isWhole: true, tokens: undefined, ms: 1 };
      const models = ['claude-sonnet-5-5', 'scripted', ...Array.from({ length: 500 }, (_, at) => `own-${String(at)}`)];
      for (const model of models) countRequest({ ...record, model, status: 200, costMicroUsd: 2, spentMicroUsd: 2 });
      for (const name of ['capstan_model_requests_total', 'capstan_model_cost_micro_usd_total']) {
        const { values } = (await metrics.registry.getSingleMetric(name)?.get()) ?? { values: [] };
        const series = values.map(({ labels, value }) => [labels['model'], value]);
        const each = name.includes('cost') ? 2 : 1;
        expect(series).toEqual([
          ['claude-sonnet-5-5', each],
          ['scripted', each],
          ['other', 500 * each],
        ]);
      }
    }),
  );
});
