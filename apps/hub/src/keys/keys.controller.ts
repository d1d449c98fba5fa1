import { Body, Controller, Get, HttpCode, HttpException, Ip, Post } from '@nestjs/common';
import { ApiBearerAuth, ApiOperation, ApiTags } from '@nestjs/swagger';
import { Caller, Open } from '@capstan/platform';
import { decodeEnvelope, encodeEnvelope, fromBase64, toBase64 } from '@capstan/protocol';
import { DatabaseService } from '../database/database.service.js';
import { RateLimit } from '../rate-limit.js';
import { HubKeys, type RotatedKey } from './hub-keys.js';
import { InstanceKeys } from './instance-keys.js';
import { KeyStatementDto, RotateKeyDto } from './keys.dto.js';
import { readStatements } from './statement-rows.js';

const OVERLAP_MS = 24 * 3_600_000;

/** A statement as the API shows it; it is believed for its signatures only. */
export interface KeyStatementView {
  owner: string;
  oldKeyId: string;
  newKeyId: string;
  oldUntil: string;
  /** Base64. */
  envelope: string;
}

@ApiTags('federation')
@ApiBearerAuth()
@Controller('api/v1/federation')
export class KeysController {
  /** Counts failures: what a stranger can ask for is a signature to be verified, and no more than this often. */
  private readonly limit = new RateLimit({ windowMs: 60_000, perCaller: 60, forAll: 300 });

  constructor(
    private readonly hub: HubKeys,
    private readonly instances: InstanceKeys,
    private readonly database: DatabaseService,
  ) {}

  /**
   * @throws {WireFault} `key-statement`: another replica has just done it
   * @throws LocalFault `database-unavailable`, `key-file-open`, `key-file-malformed`
   */
  @ApiOperation({ summary: 'Another key for this hub; every instance is told by a statement that the old one signs' })
  @HttpCode(200)
  @Post('instance/rotate-key')
  rotate(@Caller() by: string, @Body() body?: RotateKeyDto): Promise<RotatedKey> {
    return this.hub.rotate(by, body?.overlapMs ?? OVERLAP_MS);
  }

  @ApiOperation({ summary: 'Every statement by which a key was replaced, oldest first' })
  @Get('key-statements')
  async list(): Promise<KeyStatementView[]> {
    const statements = await readStatements(this.database.db);
    return statements.map(({ owner, oldKeyId, newKeyId, oldUntilMs, envelope }) => ({
      owner,
      oldKeyId,
      newKeyId,
      oldUntil: new Date(oldUntilMs).toISOString(),
      envelope: toBase64(encodeEnvelope(envelope)),
    }));
  }

  /**
   * @throws {WireFault} `envelope-malformed`, `payload-malformed`, `payload-type-unknown`, `unknown-field`, `id-malformed`,
   *   `key-unknown`, `key-revoked`, `key-weak`, `key-statement`, `key-fork`, `wrong-audience`, `wrong-direction`,
   *   `wrong-issuer`, `clock-skew`, `expired`
   * @throws HttpException `too-many-connections`: who fails too often
   * @throws LocalFault `database-unavailable`
   */
  @ApiOperation({ summary: 'The statement of an instance that holds no link; its signatures are what admits it' })
  @Open()
  @HttpCode(200)
  @Post('key-statements')
  async take(@Body() { statement }: KeyStatementDto, @Ip() address: string): Promise<{ instance: string }> {
    if (!this.limit.allows(address)) throw new HttpException('Too many attempts; try again in a minute.', 429);
    const taken = await this.instances.takeOpen(decodeEnvelope(fromBase64(statement)));
    this.limit.refund(address);
    return taken;
  }
}
