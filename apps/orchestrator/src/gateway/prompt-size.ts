import type { RequestSurvey } from './request-survey.js';

/** Code has about three bytes to a token; text of any kind has more. */
const BYTES_PER_TOKEN = 3;
/** A few bytes can be a large picture; the models scale it down to 4784 tokens (https://platform.claude.com/docs/en/build-with-claude/vision). */
const IMAGE_TOKENS = 5_000;
/**
 * A few kilobytes of PDF can have hundreds of full pages, each of which counts as text and as a picture: nothing bounds them but
 * the largest context window, past which the model refuses.
 */
const DOCUMENTS_TOKENS = 1_000_000;

/** The most tokens that a prompt is reckoned to have before the model has counted them. @param bytes of the whole request. */
export function promptTokensOf(bytes: number, { images, hasDocument }: RequestSurvey): number {
  return bytes / BYTES_PER_TOKEN + images * IMAGE_TOKENS + (hasDocument ? DOCUMENTS_TOKENS : 0);
}
