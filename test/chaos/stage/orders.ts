import { HubProblem, type KillAllLine, OwnerClient } from '@capstan/localmesh';
import { livingOf } from '../evidence/processes.ts';
import { readRegister } from '../evidence/register-file.ts';
import type { Asked, KilledLine, OrderRecord, RegisterLine } from '../history/history.ts';
import type { KillScope, Order } from '../plan/schedule.ts';
import type { ChaosMesh } from './chaos-mesh.ts';
import { workItem } from './model.ts';
import type { Weather } from './weather.ts';

const RETRY_MS = 400;

interface OrderOfAgent {
  agentId: string;
  instance: string;
  origin?: string;
  via: number;
}

/** Gives orders as somebody would who uses the API, and notes what was answered. */
export class Orders {
  private readonly stage: ChaosMesh;
  private readonly weather: Weather;

  constructor(stage: ChaosMesh, weather: Weather) {
    this.stage = stage;
    this.weather = weather;
  }

  /** Resolves when it is answered, or will not be. */
  async give(order: Order): Promise<void> {
    switch (order.kind) {
      case 'spawn':
        return this.spawn(order);
      case 'status':
        return this.status(order);
      case 'kill':
        await this.kill(order);
        return;
      case 'kill-all':
        return this.killAll(order.scope, order.via);
      case 'rearm':
        await this.rearm(order.scope, order.via);
    }
  }

  /** @returns whether the reaper's proof of the death has come */
  async kill({ agentId, instance, origin, via }: OrderOfAgent): Promise<boolean> {
    const killed =
      origin === undefined
        ? this.stage.client(via).kill(agentId, { instance, reason: 'chaos' })
        : this.spokeOf(origin).kill(agentId, { target: instance, reason: 'chaos' });
    const { asked, value } = await this.ask<{ outcome: string; confirmed: boolean; commandId?: string }>(killed);
    const confirmed = value?.confirmed === true;
    const alive = confirmed ? await this.living(instance, (id) => id === agentId) : [];
    const { outcome, commandId } = value ?? {};
    const known = { ...(outcome && { outcome }), ...(commandId && { commandId }), ...(origin && { origin }) };
    this.note({ kind: 'kill', agentId, instance, confirmed, alive, ...asked, ...known });
    return confirmed;
  }

  /** @returns whether every instance of the scope is armed again */
  async rearm(scope: KillScope, via: number): Promise<boolean> {
    const { asked, value } = await this.ask(this.stage.as('rearms', via).rearm(scope));
    this.note({ kind: 'rearm', scope, lines: [], ...asked });
    // Nothing was ever stopped: the order never reached the hub.
    if (asked.code === 'not-found') return true;
    return value?.instances.every(({ rearmed }) => rearmed) ?? false;
  }

  private async spawn(order: Extract<Order, { kind: 'spawn' }>): Promise<void> {
    const { agentId, instance, origin, work, expiresInMs, killAfterMs, via } = order;
    const repository = this.stage.mesh.repository?.path ?? '';
    const body = {
      ...{ agentId, taskId: agentId, agentType: 'worker' as const, expiresInMs },
      context: { repository, workItems: [workItem(agentId, work)] },
      onHubLost: killAfterMs === undefined ? { keep: true as const } : { killAfterMs },
    };
    // Whoever got no answer asks once more, by the same name, and another hub where there is one.
    for (const attempt of [1, 2]) {
      const spawned =
        origin === undefined
          ? this.stage.client(via + attempt - 1).spawn({ ...body, instance })
          : this.spokeOf(origin).spawn({ ...body, target: instance });
      const { asked, value } = await this.ask<{ commandId?: string; agent?: object | null }>(spawned);
      // A routed order that nobody has answered yet stands, maybe.
      const answer = value?.agent === null ? 'unknown' : asked.answer;
      const known = { ...(value?.commandId && { commandId: value.commandId }), ...(origin && { origin }) };
      this.note({ kind: 'spawn', agentId, instance, work, ...asked, answer, ...known });
      if (answer !== 'unknown' || attempt === 2) return;
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }

  private async status({ agentId, instance, origin, via }: OrderOfAgent): Promise<void> {
    const told: Promise<unknown> =
      origin === undefined ? this.stage.client(via).status(agentId) : this.spokeOf(origin).status(agentId, instance);
    const { asked } = await this.ask(told);
    this.note({ kind: 'status', agentId, instance, ...(origin && { origin }), ...asked });
  }

  private spokeOf(origin: string): OwnerClient {
    return new OwnerClient(this.stage.mesh.instance(origin).dir);
  }

  private async killAll(scope: KillScope, via: number): Promise<void> {
    const seen: Promise<KilledLine>[] = [];
    const look = (line: KillAllLine): void => void seen.push(this.killedLine(line, scope));
    const { asked } = await this.ask(this.stage.as('stops', via).killAll({ ...scope, reason: 'chaos' }, look));
    this.note({ kind: 'kill-all', scope, lines: await Promise.all(seen), ...asked });
  }

  private async killedLine(line: KillAllLine, scope: KillScope): Promise<KilledLine> {
    const { instance, commandId, confirmed } = line;
    const register = confirmed ? await readRegister(this.stage.mesh.instance(instance).dir) : [];
    const isRaised = (it: RegisterLine): boolean => it.kind === 'epoch' && it.scope?.scope === scope.scope;
    const alive = livingOf(register.slice(0, register.findLastIndex(isRaised))).map(({ pid }) => pid);
    return { instance, commandId, confirmed, alive };
  }

  private async living(instance: string, isMeant: (agentId: string) => boolean): Promise<number[]> {
    const register = await readRegister(this.stage.mesh.instance(instance).dir);
    return livingOf(register, isMeant).map(({ pid }) => pid);
  }

  private async ask<T>(answer: Promise<T>): Promise<{ asked: Asked; value?: T }> {
    const askedAt = Date.now();
    const asked = (rest: Pick<Asked, 'answer' | 'code'>): Asked => {
      const answeredAt = Date.now();
      return { askedAt, answeredAt, during: this.weather.during(askedAt, answeredAt), ...rest };
    };
    try {
      const value = await answer;
      return { asked: asked({ answer: 'accepted' }), value };
    } catch (error) {
      // Only a "no" of the hub's own is one; what it says of itself decides nothing about the order.
      const isDecided = error instanceof HubProblem && error.status < 500;
      const code = (error as { code?: unknown }).code;
      return {
        asked: asked({ answer: isDecided ? 'refused' : 'unknown', code: typeof code === 'string' ? code : '' }),
      };
    }
  }

  private note(record: OrderRecord): void {
    this.stage.orders.push(record);
  }
}
