import { Controller, Get, Param } from '@nestjs/common';
import { ApiBearerAuth, ApiOperation, ApiTags } from '@nestjs/swagger';
import { eq } from 'drizzle-orm';
import { toBase64, WireFault } from '@capstan/protocol';
import { DatabaseService } from '../database/database.service.js';
import { connections } from '../database/schema.js';

/**
 * What an instance signed when it enrolled. Whoever has pinned the instance's key learns from it, without trusting this
 * hub, to which key its secrets are sealed.
 */
@ApiTags('connections')
@ApiBearerAuth()
@Controller('api/v1/federation/connections')
export class EnrollmentStatementController {
  constructor(private readonly database: DatabaseService) {}

  /** @throws {WireFault} `not-found` */
  @ApiOperation({ summary: 'The enrolment statement as the instance signed it: base64 of its envelope' })
  @Get(':id/enrollment')
  async statement(@Param('id') id: string): Promise<{ enrollment: string }> {
    const [row] = await this.database.db
      .select({ enrollment: connections.enrollment })
      .from(connections)
      .where(eq(connections.id, id));
    if (row === undefined) throw new WireFault('not-found', `connection ${id.slice(0, 80)}`);
    return { enrollment: toBase64(row.enrollment) };
  }
}
