import { Controller, Delete, Get, HttpCode, Param, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiOperation, ApiTags } from '@nestjs/swagger';
import { Caller } from '@capstan/platform';
import { instanceId, toBase64, toHex } from '@capstan/protocol';
import { AuditQuery, CompactRangeQuery, ConsistencyQuery, InclusionQuery } from './audit.dto.js';
import { type AuditEntryView, type AuditHeadView, AuditService } from './audit.service.js';
import { InstanceLogs } from './instance-logs.js';

/** A head that this hub keeps of an instance's log. */
export interface KeptHeadView {
  size: number;
  /** Hex. */
  root: string;
  receivedAt: string;
  /** Base64 of the instance's envelope. */
  head: string;
}

@ApiTags('audit')
@ApiBearerAuth()
@Controller('api/v1/audit')
export class AuditController {
  constructor(
    private readonly audit: AuditService,
    private readonly logs: InstanceLogs,
  ) {}

  @ApiOperation({ summary: "The hub's hash-chained record, oldest first" })
  @Get()
  entries(@Query() { after, limit }: AuditQuery): Promise<{ entries: AuditEntryView[]; next: number }> {
    return this.audit.entries(after ?? 0, limit ?? 100);
  }

  /** @throws LocalFault `audit-damaged` */
  @ApiOperation({ summary: 'The Merkle tree head over the whole record, signed by the hub (RFC 6962)' })
  @Get('head')
  head(): Promise<AuditHeadView> {
    return this.audit.head();
  }

  /**
   * @throws {WireFault} `not-found`
   * @throws LocalFault `audit-damaged`
   */
  @ApiOperation({ summary: 'Proof that an entry is in the tree of a size' })
  @Get('proof/inclusion')
  async inclusion(@Query() { sequence, size }: InclusionQuery): Promise<{ hashes: string[] }> {
    return { hashes: await this.audit.inclusion(sequence, size) };
  }

  /**
   * @throws {WireFault} `not-found`
   * @throws LocalFault `audit-damaged`
   */
  @ApiOperation({ summary: 'Proof that the record has only grown from one size to another' })
  @Get('proof/consistency')
  async consistency(@Query() { from, to }: ConsistencyQuery): Promise<{ hashes: string[] }> {
    return { hashes: await this.audit.consistency(from, to) };
  }

  /**
   * @throws {WireFault} `not-found`
   * @throws LocalFault `audit-damaged`
   */
  @ApiOperation({
    summary: 'The roots of the perfect subtrees over the first entries: what stands for them in an export',
  })
  @Get('proof/compact-range')
  async compactRange(@Query() { size }: CompactRangeQuery): Promise<{ hashes: string[] }> {
    return { hashes: await this.audit.compactRange(size) };
  }

  /** @throws {WireFault} `id-malformed` */
  @ApiOperation({ summary: "Heads of an instance's own log that this hub keeps, as the instance signed them" })
  @Get('heads/:instance')
  async heads(@Param('instance') instance: string): Promise<{ heads: KeptHeadView[] }> {
    const kept = await this.logs.heads(instanceId(instance));
    const heads = kept.map(({ size, root, envelope, receivedAt }) => ({
      size,
      root: toHex(root),
      receivedAt: receivedAt.toISOString(),
      head: toBase64(envelope),
    }));
    return { heads };
  }

  /**
   * @throws {WireFault} `id-malformed`, `instance-unknown`
   * @throws LocalFault `database-unavailable`
   */
  @ApiOperation({
    summary: "Take an instance's log as it is now: forgets the kept heads, and the contradiction with them",
  })
  @HttpCode(204)
  @Delete('heads/:instance')
  accept(@Param('instance') instance: string, @Caller() by: string): Promise<void> {
    return this.logs.accept(instanceId(instance), by);
  }
}
