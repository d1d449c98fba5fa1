import { Body, Controller, Headers, HttpCode, Post, Res } from '@nestjs/common';
import { ApiBearerAuth, ApiOkResponse, ApiOperation, ApiProduces, ApiTags } from '@nestjs/swagger';
import { Caller } from '@capstan/platform';
import { type KillAllLine, type KillAllTotals, totalsOf } from './kill-all-line.js';
import { ScopeDto, scopeOrderOf, WAIT_MS } from './killswitch.dto.js';
import { Killswitch } from './killswitch.js';
import { type RearmLine, Rearming } from './rearming.js';

const STREAM = 'application/x-ndjson';

/** What a stream needs of the response. */
interface StreamedResponse {
  status(code: number): unknown;
  setHeader(name: string, value: string): unknown;
  write(text: string): unknown;
  end(text?: string): unknown;
}

/** The whole answer where one object was asked for. */
export interface KillAllAnswer {
  instances: KillAllLine[];
  totals: KillAllTotals;
}

@ApiTags('agents')
@ApiBearerAuth()
@Controller('api/v1/federation/agents')
export class KillswitchController {
  constructor(
    private readonly killswitch: Killswitch,
    private readonly rearming: Rearming,
  ) {}

  /**
   * @returns {KillAllAnswer}
   *
   * @throws {WireFault} `instance-unknown`, `connection-not-active`
   */
  @ApiOperation({
    summary:
      'Kill every agent of a scope and let none start in it: one line for each instance as it answers, then totals',
  })
  @ApiProduces(STREAM, 'application/json')
  @ApiOkResponse({ description: 'A line for each instance, then totals; or one object, where JSON is asked for' })
  @Post('kill-all')
  async killAll(
    @Body() body: ScopeDto,
    @Caller() by: string,
    @Headers('accept') accept: string | undefined,
    @Res() response: StreamedResponse,
  ): Promise<void> {
    const lines = await this.killswitch.killAll(scopeOrderOf(body), by, body.waitMs ?? WAIT_MS);
    response.status(200);
    if (wantsObject(accept)) {
      const instances = await Promise.all(lines);
      const answer: KillAllAnswer = { instances, totals: totalsOf(instances) };
      response.setHeader('content-type', 'application/json; charset=utf-8');
      response.end(JSON.stringify(answer));
      return;
    }
    response.setHeader('content-type', STREAM);
    const write = (object: unknown): unknown => response.write(`${JSON.stringify(object)}\n`);
    // Whoever asked may have gone: the orders stand all the same.
    const told = await Promise.all(lines.map((line) => line.then((it) => (write(it), it))));
    write({ totals: totalsOf(told) });
    response.end();
  }

  /**
   * @throws {WireFault} `not-found`: nothing is disarmed there; `rearm-same-person`
   * @throws LocalFault `database-unavailable`
   */
  @ApiOperation({ summary: 'Let agents start again in a scope; by another admin than the one who stopped it' })
  @HttpCode(200)
  @Post('rearm')
  async rearm(@Body() body: ScopeDto, @Caller() by: string): Promise<{ instances: RearmLine[] }> {
    return { instances: await this.rearming.rearm(scopeOrderOf(body), by, body.waitMs ?? WAIT_MS) };
  }
}

function wantsObject(accept = ''): boolean {
  return accept.includes('application/json') && !accept.includes(STREAM);
}
