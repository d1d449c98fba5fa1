import { AnthropicProvider } from './anthropic.provider.js';
import { PlaybookShelf } from './playbook-shelf.js';
import type { ModelProvider } from './provider.js';
import { ScriptedProvider } from './scripted.provider.js';

/** `url` is the upstream; `playbooks` a directory of further playbooks. */
export type ProviderSettings =
  { name: 'anthropic'; apiKey: string; url?: string } | { name: 'scripted'; playbooks?: string };

export function createProvider(settings: ProviderSettings): ModelProvider {
  switch (settings.name) {
    case 'anthropic':
      return new AnthropicProvider(settings.apiKey, settings.url);
    case 'scripted':
      return new ScriptedProvider(new PlaybookShelf(settings.playbooks));
  }
}
