import { Module } from '@nestjs/common';
import { APP_GUARD } from '@nestjs/core';
import { BearerGuard } from '@capstan/platform';
import { DatabaseService } from '../database/database.service.js';
import { HubConfig } from '../hub.config.js';
import { loadOrCreateAdminToken } from './admin-token.js';
import { TokenStore } from './token.store.js';

/** Who may call the API: every route that is not `@Open()` asks for a bearer token. */
@Module({
  providers: [
    {
      provide: TokenStore,
      useFactory: async (config: HubConfig, database: DatabaseService) => {
        const store = new TokenStore(database);
        await store.put('admin', await loadOrCreateAdminToken(config.stateDirectory));
        return store;
      },
      inject: [HubConfig, DatabaseService],
    },
    {
      provide: APP_GUARD,
      useFactory: (store: TokenStore) => new BearerGuard((token) => store.isValid(token)),
      inject: [TokenStore],
    },
  ],
  exports: [TokenStore],
})
export class AuthModule {}
