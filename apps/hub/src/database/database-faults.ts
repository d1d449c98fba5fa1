import pg from 'pg';
import { LocalFault } from '@capstan/platform';

/** The database cannot be used just now; nothing was decided about the request. */
export function databaseUnavailable(cause?: unknown): LocalFault {
  return new LocalFault('database-unavailable', 'The hub cannot reach its database just now; try again.', undefined, {
    cause,
  });
}

/**
 * Whether PostgreSQL refused the data itself, so that sending it again cannot help: SQLSTATE classes 21 (a row touched
 * twice by one statement), 22 (data) and 23 (integrity). Everything else says something about the server or the way to it.
 */
export function isDataFault(error: unknown): boolean {
  return /^2[123]/.test(databaseError(error)?.code ?? '');
}

/** The unique constraint that the data hurts, if it is that. */
export function hurtConstraint(error: unknown): string | undefined {
  const found = databaseError(error);
  return found?.code === '23505' ? found.constraint : undefined;
}

/** Whether a command was to be written whose id is that of another: see the statement that writes. */
export function isTakenId(error: unknown): boolean {
  const found = databaseError(error);
  return found?.code === '23502' && found.table === 'commands' && found.column === 'digest';
}

/** drizzle wraps what the driver throws. */
function databaseError(error: unknown): pg.DatabaseError | undefined {
  if (error instanceof pg.DatabaseError) return error;
  return error instanceof Error && error.cause instanceof pg.DatabaseError ? error.cause : undefined;
}
