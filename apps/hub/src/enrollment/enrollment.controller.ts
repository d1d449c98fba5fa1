import { Body, Controller, HttpCode, HttpException, Ip, Post } from '@nestjs/common';
import { ApiBearerAuth, ApiOperation, ApiTags } from '@nestjs/swagger';
import { metrics, Open } from '@capstan/platform';
import { encodeEnvelope, toBase64, WireFault } from '@capstan/protocol';
import { CreateEnrollmentDto, RedeemEnrollmentDto } from './enrollment.dto.js';
import { EnrollmentService } from './enrollment.service.js';
import { RateLimit } from '../rate-limit.js';

@ApiTags('enrollment')
@Controller('api/v1/federation/enrollments')
export class EnrollmentController {
  /** Counts failures. A secret has 256 bits: this bounds the work that a stranger can ask for, not his luck. */
  private readonly limit = new RateLimit({ windowMs: 60_000, perCaller: 60, forAll: 300 });

  constructor(private readonly enrollments: EnrollmentService) {}

  @ApiOperation({ summary: 'Make a single-use invitation that pins the hub key' })
  @ApiBearerAuth()
  @Post()
  invite(@Body() body: CreateEnrollmentDto): Promise<{ id: string; invite: string; expiresAt: string }> {
    return this.enrollments.invite(body);
  }

  @ApiOperation({ summary: 'Redeem an invitation: the spoke proves possession of its keys' })
  @Open()
  @HttpCode(200)
  @Post('redeem')
  async redeem(@Body() body: RedeemEnrollmentDto, @Ip() address: string): Promise<{ enrolled: string }> {
    if (!this.limit.allows(address, Date.now()))
      throw new HttpException('Too many attempts; try again in a minute.', 429);
    try {
      const enrolled = await this.enrollments.redeem(body.secret, body.enrollment);
      this.limit.refund(address);
      return { enrolled: toBase64(encodeEnvelope(enrolled)) };
    } catch (error) {
      if (error instanceof WireFault) metrics.countRefusal(error.code);
      throw error;
    }
  }
}
