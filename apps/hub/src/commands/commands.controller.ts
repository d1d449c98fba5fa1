import { Controller, Get, Param, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiOperation, ApiTags } from '@nestjs/swagger';
import { WireFault } from '@capstan/protocol';
import { ReceiptStore } from '../receipts/receipt.store.js';
import { type ReceiptView, receiptView } from '../receipts/receipt-view.js';
import { type Answer, Answers } from './answers.js';
import { type CommandView, commandView } from './command-view.js';
import type { CommandRecord } from './command-record.js';
import { CommandStore } from './command.store.js';
import { WaitQuery } from './wait.dto.js';

@ApiTags('commands')
@ApiBearerAuth()
@Controller('api/v1/federation/commands')
export class CommandsController {
  constructor(
    private readonly commands: CommandStore,
    private readonly receipts: ReceiptStore,
    private readonly answers: Answers,
  ) {}

  /** @throws {WireFault} `not-found` */
  @ApiOperation({ summary: 'A command and its receipts; waitMs waits for the first receipt or the end without one' })
  @Get(':id')
  async get(@Param('id') id: string, @Query() { waitMs }: WaitQuery): Promise<CommandView> {
    // Listening starts before the look, so that an answer in between is not missed.
    using listener = this.answers.listen(id);
    const { settledAt } = await this.find(id);
    const answer = settledAt === null ? await listener.next(waitMs ?? 0) : undefined;
    const receipts = await this.receipts.ofCommand(id);
    return commandView(await this.find(id), withAnswer(receipts, answer));
  }

  private async find(id: string): Promise<CommandRecord> {
    const record = await this.commands.find(id);
    if (record === undefined) throw new WireFault('not-found', `command ${id}`);
    return record;
  }
}

/** A death is told before it is stored. */
function withAnswer(stored: ReceiptView[], answer: Answer | undefined): ReceiptView[] {
  if (answer?.receipt === undefined) return stored;
  const told = receiptView(answer.receipt);
  return stored.some(({ envelope }) => envelope === told.envelope) ? stored : [...stored, told];
}
