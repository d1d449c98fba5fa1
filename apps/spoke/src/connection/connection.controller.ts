import { Body, Controller, Get, HttpCode, Post } from '@nestjs/common';
import { SpokeIdentity } from '../instance/spoke-identity.js';
import { LinkService } from '../link/link.service.js';
import { WishDto } from './connection.dto.js';
import { OwnerWishes } from './owner-wishes.js';
import type { WishAnswer } from './post-wish.js';
import { RevocationEpoch } from './revocation-epoch.js';
import type { WishState } from './wish-file.js';

/** The connection as its owner sees it. */
interface OwnConnectionView {
  instanceId: string;
  hubId: string;
  connectionId: string;
  /** Whether there is a link to the hub now. */
  online: boolean;
  /** What the owner wishes; it holds here at once. */
  wish: WishState;
  /** What the hub made of that. */
  answer: WishAnswer;
  revocationEpoch: string;
}

/** The owner's word about the connection of his instance. */
@Controller('connection')
export class ConnectionController {
  constructor(
    private readonly identity: SpokeIdentity,
    private readonly wishes: OwnerWishes,
    private readonly epoch: RevocationEpoch,
    private readonly link: LinkService,
  ) {}

  @Get()
  view(): OwnConnectionView {
    const { instanceId, hubId, instance } = this.identity;
    return {
      instanceId,
      hubId,
      connectionId: instance.connectionId,
      online: this.link.isOnline,
      wish: this.wishes.state,
      answer: this.wishes.answered,
      revocationEpoch: String(this.epoch.current),
    };
  }

  /** Nothing but kills and probes is taken from the hub, from now on. */
  @Post('suspend')
  @HttpCode(200)
  suspend(@Body() body?: WishDto): Promise<OwnConnectionView> {
    return this.express('SUSPENDED', body);
  }

  /** Lifts the owner's own suspension. */
  @Post('resume')
  @HttpCode(200)
  resume(@Body() body?: WishDto): Promise<OwnConnectionView> {
    return this.express('ACTIVE', body);
  }

  /** Leaves the hub; from there the instance enrols again. */
  @Post('disconnect')
  @HttpCode(200)
  disconnect(@Body() body?: WishDto): Promise<OwnConnectionView> {
    return this.express('DISCONNECTED', body);
  }

  private async express(state: WishState, body: WishDto | undefined): Promise<OwnConnectionView> {
    await this.wishes.express(state, body?.reason ?? '', this.link.isOnline);
    return this.view();
  }
}
