import { allowsRepository, coversRepositoryRule, type Grant, isId, WireFault } from '@capstan/protocol';
import { ALL, GRANT_VERBS, type GrantScope, MOST_GRANTS } from './make-grant.js';

const MOST_ENTRIES = 64;
const MOST_TEXT = 4_096;
/** Budgets are counted where numbers are exact only up to here. */
const MOST_BUDGET = BigInt(Number.MAX_SAFE_INTEGER);

/** What a command does, as far as a grant has a say in it. */
export interface GrantedAct {
  /** Kind of the command. */
  verb: string;
  instance: string;
  tenant: string;
  /** Of a spawn; undefined for what names none. */
  repository?: string;
  /** What a spawn may spend, the instance's default filled in; millionths of a US dollar. */
  budgetMicroUsd?: bigint;
}

/** Refuses a grant whose words mean nothing. @throws {WireFault} `grant-invalid` */
export function checkScope(grant: Grant): void {
  const { verbs, instances, tenants, repositories, budgetMicroUsd, depth } = grant;
  const isVerb = (verb: string): boolean => GRANT_VERBS.some((known) => known === verb);
  const isIdOrAll = (text: string): boolean => text === ALL || isId(text);
  const isRepository = (text: string): boolean => text !== '' && text.length <= MOST_TEXT;
  checkList('verbs', verbs, isVerb);
  checkList('instances', instances, isIdOrAll);
  checkList('tenants', tenants, isIdOrAll);
  checkList('repositories', repositories, isRepository);
  if (budgetMicroUsd < 0n || budgetMicroUsd > MOST_BUDGET) throw new WireFault('grant-invalid', 'budget');
  if (depth >= MOST_GRANTS) throw new WireFault('grant-invalid', `depth ${String(depth)}`);
}

function checkList(name: string, list: readonly string[], holds: (text: string) => boolean): void {
  if (list.length > MOST_ENTRIES || !list.every(holds)) throw new WireFault('grant-invalid', name);
}

/**
 * Refuses a grant that allows more than the one before it. `*` is no more: it stands for what the grantor may, since a
 * command must be allowed by every grant of the chain.
 *
 * @throws {WireFault} `grant-widened`
 */
export function checkNarrower(parent: Grant, child: Grant): void {
  const widened =
    (child.verbs.some((verb) => !parent.verbs.includes(verb)) && 'verbs') ||
    (child.instances.some((id) => !coversId(parent.instances, id)) && 'instances') ||
    (child.tenants.some((id) => !coversId(parent.tenants, id)) && 'tenants') ||
    (child.repositories.some((rule) => !coversRule(parent.repositories, rule)) && 'repositories') ||
    (child.budgetMicroUsd > parent.budgetMicroUsd && 'budget') ||
    (child.depth >= parent.depth && 'depth') ||
    ((child.header?.expiresAtMs ?? 0n) > (parent.header?.expiresAtMs ?? 0n) && 'expiry');
  if (widened !== false) throw new WireFault('grant-widened', widened);
}

function coversId(allowed: readonly string[], id: string): boolean {
  return id === ALL || allowed.includes(ALL) || allowed.includes(id);
}

function coversRule(allowed: readonly string[], rule: string): boolean {
  return rule === ALL || allowed.some((wide) => wide === ALL || coversRepositoryRule(wide, rule));
}

/** Refuses an act that the grant does not name. @throws {WireFault} `grant-exceeded` */
export function checkCovered(grant: GrantScope, act: GrantedAct): void {
  const { verb, instance, tenant, repository, budgetMicroUsd = 0n } = act;
  const names = (list: readonly string[], id: string): boolean => list.includes(ALL) || list.includes(id);
  if (!grant.verbs.includes(verb)) throw new WireFault('grant-exceeded', verb);
  if (!names(grant.instances, instance)) throw new WireFault('grant-exceeded', `instance ${instance}`);
  if (!names(grant.tenants, tenant)) throw new WireFault('grant-exceeded', `tenant ${tenant}`);
  const allows = (rule: string): boolean => rule === ALL || allowsRepository(rule, repository ?? '');
  if (repository !== undefined && !grant.repositories.some(allows)) throw new WireFault('grant-exceeded', 'repository');
  if (budgetMicroUsd > grant.budgetMicroUsd) throw new WireFault('grant-exceeded', 'budget');
}
