import { BaseAnthropic } from '@anthropic-ai/sdk/client';
import { Messages } from '@anthropic-ai/sdk/resources/messages';

/** The SDK's client with the one resource that an agent uses; all of them would make each start of an agent longer. */
export class ModelClient extends BaseAnthropic {
  readonly messages = new Messages(this);
}
