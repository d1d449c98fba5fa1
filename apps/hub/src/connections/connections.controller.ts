import { Body, Controller, Get, HttpCode, HttpException, Ip, Param, Post } from '@nestjs/common';
import { ApiBearerAuth, ApiOperation, ApiTags } from '@nestjs/swagger';
import { Caller, Open } from '@capstan/platform';
import { decodeEnvelope, fromBase64, WireFault } from '@capstan/protocol';
import { ProbeStore } from '../killswitch/probe.store.js';
import { RateLimit } from '../rate-limit.js';
import { AuditConflicts } from './audit-conflicts.js';
import { type Connection, type ConnectionView, connectionView } from './connection.js';
import { ConnectionWishDto, MoveConnectionDto } from './connection.dto.js';
import { ConnectionMoves } from './connection-moves.js';
import type { ConnectionState } from './connection-state.js';
import { ConnectionStore } from './connection.store.js';
import { ConnectionWishes } from './connection-wishes.js';
import { LinkRegistry } from './link.registry.js';

const NEVER_PROVEN = { proven: false, ageMs: null, latencyMs: null };

@ApiTags('connections')
@ApiBearerAuth()
@Controller('api/v1/federation/connections')
export class ConnectionsController {
  /** Counts failures: what a stranger can ask for is a signature to be verified, and no more than this often. */
  private readonly limit = new RateLimit({ windowMs: 60_000, perCaller: 60, forAll: 300 });

  constructor(
    private readonly connections: ConnectionStore,
    private readonly moves: ConnectionMoves,
    private readonly wishes: ConnectionWishes,
    private readonly links: LinkRegistry,
    private readonly conflicts: AuditConflicts,
    private readonly probes: ProbeStore,
  ) {}

  @ApiOperation({ summary: 'Every connection, with the keys that are pinned for it' })
  @Get()
  list(): ConnectionView[] {
    const nowMs = Date.now();
    return this.connections.all().map((each) => this.view(each, nowMs));
  }

  /**
   * @throws {WireFault} `envelope-malformed`, `payload-malformed`, `payload-type-unknown`, `unknown-field`, `id-malformed`,
   *   `signature-missing`, `signature-invalid`, `key-unknown`, `key-revoked`, `key-purpose`, `wrong-audience`,
   *   `wrong-direction`, `wrong-issuer`, `connection-transition`
   * @throws HttpException `too-many-connections`: who fails too often
   * @throws LocalFault `database-unavailable`
   */
  @ApiOperation({ summary: 'The wish of an owner whose instance holds no link; its signature is what admits it' })
  @Open()
  @HttpCode(200)
  @Post('wishes')
  async wish(@Body() { event }: ConnectionWishDto, @Ip() address: string): Promise<{ state: ConnectionState }> {
    if (!this.limit.allows(address)) throw new HttpException('Too many attempts; try again in a minute.', 429);
    const { state } = await this.wishes.takeEnvelope(decodeEnvelope(fromBase64(event)));
    this.limit.refund(address);
    return { state };
  }

  /**
   * @throws {WireFault} `not-found`, `connection-transition`
   * @throws LocalFault `database-unavailable`
   */
  @ApiOperation({ summary: 'Admit an instance that has enrolled: PENDING becomes ACTIVE' })
  @HttpCode(200)
  @Post(':id/approve')
  approve(@Param('id') id: string, @Caller() by: string, @Body() body?: MoveConnectionDto): Promise<ConnectionView> {
    return this.move(id, 'ACTIVE', by, body, 'PENDING');
  }

  /**
   * @throws {WireFault} `not-found`, `connection-transition`
   * @throws LocalFault `database-unavailable`
   */
  @ApiOperation({ summary: 'Let nothing through but kills and probes; the link stays' })
  @HttpCode(200)
  @Post(':id/suspend')
  suspend(@Param('id') id: string, @Caller() by: string, @Body() body?: MoveConnectionDto): Promise<ConnectionView> {
    return this.move(id, 'SUSPENDED', by, body);
  }

  /**
   * @throws {WireFault} `not-found`, `connection-transition`
   * @throws LocalFault `database-unavailable`
   */
  @ApiOperation({ summary: 'Lift the admin’s suspension; the owner’s own stays until he lifts it' })
  @HttpCode(200)
  @Post(':id/resume')
  resume(@Param('id') id: string, @Caller() by: string, @Body() body?: MoveConnectionDto): Promise<ConnectionView> {
    return this.move(id, 'ACTIVE', by, body, 'SUSPENDED');
  }

  /**
   * @throws {WireFault} `not-found`, `connection-transition`
   * @throws LocalFault `database-unavailable`
   */
  @ApiOperation({ summary: 'Close the link and fail what waits; the instance enrols again to return' })
  @HttpCode(200)
  @Post(':id/disconnect')
  disconnect(@Param('id') id: string, @Caller() by: string, @Body() body?: MoveConnectionDto): Promise<ConnectionView> {
    return this.move(id, 'DISCONNECTED', by, body);
  }

  /**
   * @throws {WireFault} `not-found`, `connection-transition`
   * @throws LocalFault `database-unavailable`
   */
  @ApiOperation({ summary: 'Shut the instance and its keys out for ever' })
  @HttpCode(200)
  @Post(':id/revoke')
  revoke(@Param('id') id: string, @Caller() by: string, @Body() body?: MoveConnectionDto): Promise<ConnectionView> {
    return this.move(id, 'REVOKED', by, body);
  }

  /** @param only where ACTIVE can be reached from two states, the one that the order means. */
  private async move(
    id: string,
    to: ConnectionState,
    by: string,
    body: MoveConnectionDto | undefined,
    only?: ConnectionState,
  ): Promise<ConnectionView> {
    const state = this.connections.get(id)?.state;
    if (state !== undefined && only !== undefined && state !== only && state !== to)
      throw new WireFault('connection-transition', `${state}, not ${only}`);
    const moved = await this.moves.move(id, { to, mover: 'admin', by, reason: body?.reason });
    return this.view(moved, Date.now());
  }

  /** Link, probes and log are the instance's, so they stand at the connection under which it is known now, at no older one. */
  private view(connection: Connection, nowMs: number): ConnectionView {
    const { id, instanceId } = connection;
    if (this.connections.find(instanceId)?.id !== id)
      return { ...connectionView(connection, false, nowMs), stoppable: NEVER_PROVEN };
    const conflict = this.conflicts.of(instanceId);
    const isOnline = this.links.isOnline(connection);
    const stoppable = this.probes.stoppable(instanceId, isOnline, nowMs);
    return { ...connectionView(connection, isOnline, nowMs, conflict), stoppable };
  }
}
