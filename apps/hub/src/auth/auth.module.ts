import { Module } from '@nestjs/common';
import { APP_GUARD } from '@nestjs/core';
import { BearerGuard } from '@capstan/platform';
import { DatabaseService } from '../database/database.service.js';
import { HubConfig } from '../hub.config.js';
import { ADMIN, loadOrCreateAdminToken } from './admin-token.js';
import { TokenStore } from './token.store.js';
import { TokenService } from './token.service.js';
import { TokensController } from './tokens.controller.js';

/** Who may call the API: every route that is not `@Open()` asks for a bearer token. */
@Module({
  controllers: [TokensController],
  providers: [
    TokenService,
    {
      provide: TokenStore,
      useFactory: async (config: HubConfig, database: DatabaseService) => {
        const store = new TokenStore(database);
        await store.put(ADMIN, await loadOrCreateAdminToken(config.stateDirectory));
        return store;
      },
      inject: [HubConfig, DatabaseService],
    },
    {
      provide: APP_GUARD,
      useFactory: (store: TokenStore) => new BearerGuard((token) => store.nameOf(token)),
      inject: [TokenStore],
    },
  ],
  exports: [TokenStore],
})
export class AuthModule {}
