import { LocalFault, type Logger } from '@capstan/platform';
import { WireFault } from '@capstan/protocol';
import type { Harvester } from './harvester.js';
import type { LauncherParts } from './launcher.js';
import type { SubmitRefusal } from './submit-desk.js';
import { WorkRefused } from './work-refused.js';

/** Local faults whose sentence holds no path. */
const TELLABLE: readonly string[] = ['git-credentials', 'repository-unavailable', 'disk-full'];

/** Judges a submission and puts whatever comes of it into words for the agent. */
export function answeringJudge(harvester: Harvester, logger: Logger): LauncherParts['judge'] {
  return async (plan, place, submission, trial) => {
    try {
      await harvester.try(plan, place, submission, trial);
      return { accepted: true };
    } catch (error) {
      logger.info({ err: error, agentId: plan.agentId, msg: 'a submission was sent back' });
      return answerOf(error, place.repository.dir);
    }
  };
}

/** @param hidden path of the host that git may have named. */
function answerOf(error: unknown, hidden: string): SubmitRefusal {
  if (error instanceof WorkRefused)
    return { accepted: false, code: error.code, sentence: error.sentence, text: error.advice };
  // Detail of a harvest is what git said inside the sandbox, of the agent's own files.
  if (error instanceof WireFault) {
    const detail =
      error.code === 'harvest-refused' && error.detail !== undefined
        ? ` (${error.detail.replaceAll(hidden, 'the repository').slice(0, 1000)})`
        : '';
    return { accepted: false, code: error.code, sentence: error.sentence, text: `${error.sentence}${detail}` };
  }
  // Others are of files of this machine, which they name.
  if (error instanceof LocalFault && TELLABLE.includes(error.code))
    return { accepted: false, code: error.code, sentence: error.sentence, text: error.sentence };
  const sentence = 'The work could not be judged.';
  return { accepted: false, code: 'internal', sentence, text: `${sentence} Submit again.` };
}
