import { defineConfig } from 'drizzle-kit';

/** `npx drizzle-kit generate --config apps/hub/drizzle.config.ts` writes the next migration beside the schema. */
export default defineConfig({
  dialect: 'postgresql',
  schema: 'apps/hub/src/database/schema.ts',
  out: 'apps/hub/src/database/migrations',
});
