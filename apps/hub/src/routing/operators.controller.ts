import { Body, Controller, Delete, Get, Param, Post } from '@nestjs/common';
import { ApiBearerAuth, ApiOperation, ApiTags } from '@nestjs/swagger';
import { checkPublicKey, handshakePae, keyRecord, verifyBytes } from '@capstan/identity';
import { Caller } from '@capstan/platform';
import { fromBase64, fromHex, stripControl, toHex, WireFault } from '@capstan/protocol';
import { HubIdentity } from '../identity/hub-identity.js';
import { AddOperatorDto } from './operator.dto.js';
import { type Operator, OperatorStore } from './operator.store.js';

/** An operator as the API shows it. */
export interface OperatorView {
  id: string;
  displayName: string;
  keyId: string;
  /** Hex. */
  publicKey: string;
  createdAt: string;
  revokedAt: string | null;
}

@ApiTags('operators')
@ApiBearerAuth()
@Controller('api/v1/federation/operators')
export class OperatorsController {
  constructor(
    private readonly identity: HubIdentity,
    private readonly operators: OperatorStore,
  ) {}

  @ApiOperation({ summary: 'People whose own commands this hub routes' })
  @Get()
  list(): OperatorView[] {
    return this.operators.all().map(operatorView);
  }

  /**
   * @throws {WireFault} `key-weak`, `signature-invalid`, `enrollment-mismatch`: the id or the key is known already
   * @throws LocalFault `database-unavailable`
   */
  @ApiOperation({ summary: "Pin an operator's key; possession of it is proven by the signature" })
  @Post()
  async add(@Body() body: AddOperatorDto, @Caller() by: string): Promise<OperatorView> {
    const publicKey = fromHex(body.publicKey);
    checkPublicKey(publicKey);
    const text = (part: string): Uint8Array => new TextEncoder().encode(part);
    const statement = handshakePae('capstan.v1.operator-key', text(this.identity.hubId), text(body.id), publicKey);
    if (!verifyBytes(publicKey, statement, fromBase64(body.signature)))
      throw new WireFault('signature-invalid', body.id);
    const operator: Operator = {
      id: body.id,
      displayName: stripControl(body.displayName ?? body.id),
      key: keyRecord(body.id, publicKey, ['command', 'grant']),
      createdAt: new Date(),
    };
    await this.operators.add(operator, by);
    return operatorView(operator);
  }

  /**
   * @throws {WireFault} `not-found`
   * @throws LocalFault `database-unavailable`
   */
  @ApiOperation({ summary: "Refuse an operator's key from now on; what waits of it is dropped" })
  @Delete(':id')
  async revoke(@Param('id') id: string, @Caller() by: string): Promise<OperatorView> {
    return operatorView(await this.operators.revoke(id, by));
  }
}

function operatorView({ id, displayName, key, createdAt }: Operator): OperatorView {
  return {
    id,
    displayName,
    keyId: key.keyId,
    publicKey: toHex(key.publicKey),
    createdAt: createdAt.toISOString(),
    revokedAt: key.revokedAt === undefined ? null : new Date(key.revokedAt).toISOString(),
  };
}
