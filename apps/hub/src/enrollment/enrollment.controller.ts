import { Body, Controller, HttpCode, HttpException, Ip, Post } from '@nestjs/common';
import { ApiBearerAuth, ApiOperation, ApiTags } from '@nestjs/swagger';
import { Caller, metrics, Open } from '@capstan/platform';
import { encodeEnvelope, toBase64, WireFault } from '@capstan/protocol';
import { CreateEnrollmentDto, RedeemEnrollmentDto } from './enrollment.dto.js';
import { EnrollmentService } from './enrollment.service.js';
import { RecordWriter } from '../database/record-writer.js';
import { RateLimit } from '../rate-limit.js';

@ApiTags('enrollment')
@Controller('api/v1/federation/enrollments')
export class EnrollmentController {
  /** Counts failures. A secret has 256 bits: this bounds the work that a stranger can ask for, not his luck. */
  private readonly limit = new RateLimit({ windowMs: 60_000, perCaller: 60, forAll: 300 });

  /** What of them goes into the record, where a stranger must not fill it. */
  private readonly noted = new RateLimit({ windowMs: 60_000, perCaller: 10, forAll: 60 });

  constructor(
    private readonly enrollments: EnrollmentService,
    private readonly writer: RecordWriter,
  ) {}

  /** @throws LocalFault `database-unavailable` */
  @ApiOperation({ summary: 'Make a single-use invitation that pins the hub key' })
  @ApiBearerAuth()
  @Post()
  invite(
    @Body() body: CreateEnrollmentDto,
    @Caller() by: string,
  ): Promise<{ id: string; invite: string; expiresAt: string }> {
    return this.enrollments.invite(body, by);
  }

  /**
   * @throws {WireFault} `enrollment-token`, `enrollment-expired`, `enrollment-mismatch`, `envelope-malformed`,
   *   `payload-malformed`, `payload-type-unknown`, `unknown-field`, `id-malformed`, `signature-missing`, `signature-invalid`,
   *   `key-unknown`, `key-purpose`, `key-weak`, `wrong-audience`, `wrong-direction`, `wrong-issuer`, `clock-skew`, `expired`,
   *   `handshake-version`
   * @throws HttpException `too-many-connections`: who fails too often
   * @throws LocalFault `database-unavailable`
   */
  @ApiOperation({ summary: 'Redeem an invitation: the spoke proves possession of its keys' })
  @Open()
  @HttpCode(200)
  @Post('redeem')
  async redeem(@Body() body: RedeemEnrollmentDto, @Ip() address: string): Promise<{ enrolled: string }> {
    if (!this.limit.allows(address)) throw new HttpException('Too many attempts; try again in a minute.', 429);
    try {
      const enrolled = await this.enrollments.redeem(body.secret, body.enrollment);
      this.limit.refund(address);
      return { enrolled: toBase64(encodeEnvelope(enrolled)) };
    } catch (error) {
      if (error instanceof WireFault) this.refused(error.code, address);
      throw error;
    }
  }

  private refused(code: string, address: string): void {
    metrics.countRefusal(code);
    const nowMs = Date.now();
    if (!this.noted.allows(address)) return;
    const audit = [{ kind: 'enrollment.refused', subject: address, atMs: nowMs, detail: { code } }];
    // Nobody waits for it, and the metric has counted it.
    this.writer.write({ audit }, { isLazy: true }).catch(() => undefined);
  }
}
