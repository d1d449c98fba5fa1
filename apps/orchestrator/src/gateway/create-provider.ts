import { AnthropicProvider } from './anthropic.provider.js';
import { PlaybookShelf } from './playbook-shelf.js';
import type { ModelProvider } from './provider.js';
import { RetryingProvider, type RetryClock } from './retrying.provider.js';
import { ScriptedProvider } from './scripted.provider.js';

/** `url` is the upstream; `playbooks` a directory of further playbooks. */
export type ProviderSettings =
  { name: 'anthropic'; apiKey: string; url?: string } | { name: 'scripted'; playbooks?: string };

/** @param clock default: real time and chance. */
export function createProvider(settings: ProviderSettings, clock?: RetryClock): ModelProvider {
  switch (settings.name) {
    case 'anthropic':
      return new RetryingProvider(new AnthropicProvider(settings.apiKey, settings.url), clock);
    case 'scripted':
      return new ScriptedProvider(new PlaybookShelf(settings.playbooks));
  }
}
