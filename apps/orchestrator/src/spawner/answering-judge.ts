import { LocalFault, type Logger } from '@capstan/platform';
import { WireFault } from '@capstan/protocol';
import { quarantinesOf, salvageDirOf } from '../git/index.js';
import type { SocketParts } from './agent-sockets.js';
import type { Harvester } from './harvester.js';
import type { SubmitRefusal } from './submit-desk.js';
import { WorkRefused } from './work-refused.js';

/** Local faults whose sentence holds no path. */
const TELLABLE: readonly string[] = [
  'git-credentials',
  'repository-unavailable',
  'disk-full',
  'policy-unreadable',
  'policy-invalid',
];

/** Judges a submission and puts whatever comes of it into words for the agent. */
export function answeringJudge(harvester: Harvester, logger: Logger): SocketParts['judge'] {
  return async (plan, place, submission, trial) => {
    try {
      await harvester.try(plan, place, submission, trial);
      return { accepted: true };
    } catch (error) {
      logger.info({ err: error, agentId: plan.agentId, msg: 'a submission was sent back' });
      return answerOf(error, place.repository.dir);
    }
  };
}

/** @param hidden the repository: a path of the host that git may have named, as it may those beside it. */
function answerOf(error: unknown, hidden: string): SubmitRefusal {
  if (error instanceof WorkRefused) {
    const { advice, code, onto } = error;
    return { ...refusal(error, advice, code !== 'branch-missing'), ...(onto === undefined ? {} : { onto }) };
  }
  // Detail of a harvest is what git said inside the sandbox, of the agent's own files.
  if (error instanceof WireFault) {
    const detail =
      error.code === 'harvest-refused' && error.detail !== undefined
        ? ` (${withoutPaths(error.detail, hidden).slice(0, 1000)})`
        : '';
    return refusal(error, `${error.sentence}${detail}`, error.code === 'harvest-refused');
  }
  // Others are of files of this machine, which they name.
  if (error instanceof LocalFault && TELLABLE.includes(error.code)) return refusal(error, error.sentence, false);
  const sentence = 'The work could not be judged.';
  return refusal({ code: 'internal', sentence }, `${sentence} Submit again.`, false);
}

function withoutPaths(text: string, repository: string): string {
  const hidden = [repository, quarantinesOf(repository), salvageDirOf(repository)];
  return hidden.reduce((left, path) => left.replaceAll(path, 'the repository'), text);
}

function refusal(
  { code, sentence }: Pick<SubmitRefusal, 'code' | 'sentence'>,
  text: string,
  mendable: boolean,
): SubmitRefusal {
  return { accepted: false, code, sentence, text, mendable };
}
