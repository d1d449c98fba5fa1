import { Controller, Get, HttpCode, Param, Post } from '@nestjs/common';
import { ApiBearerAuth, ApiOperation, ApiTags } from '@nestjs/swagger';
import { LinkRegistry } from './link.registry.js';
import { WireFault } from '@capstan/protocol';
import { type ConnectionView, connectionView } from './connection.js';
import { ConnectionStore } from './connection.store.js';

@ApiTags('connections')
@ApiBearerAuth()
@Controller('api/v1/federation/connections')
export class ConnectionsController {
  constructor(
    private readonly connections: ConnectionStore,
    private readonly links: LinkRegistry,
  ) {}

  @ApiOperation({ summary: 'Every connection, with the keys that are pinned for it' })
  @Get()
  list(): ConnectionView[] {
    const nowMs = Date.now();
    return this.connections.all().map((each) => connectionView(each, this.links.isOnline(each), nowMs));
  }

  @ApiOperation({ summary: 'Admit an instance that has enrolled: PENDING becomes ACTIVE' })
  @HttpCode(200)
  @Post(':id/approve')
  async approve(@Param('id') id: string): Promise<ConnectionView> {
    const state = this.connections.get(id)?.state;
    if (state === 'SUSPENDED') throw new WireFault('connection-not-active', 'suspended: resume it');
    const connection = await this.connections.move(id, 'ACTIVE', 'admin');
    return connectionView(connection, this.links.isOnline(connection), Date.now());
  }
}
