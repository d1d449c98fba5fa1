import { Global, Module } from '@nestjs/common';
import { HeartbeatContents } from './heartbeat-contents.js';

/** Heartbeats, for every room that has a word in them. */
@Global()
@Module({ providers: [HeartbeatContents], exports: [HeartbeatContents] })
export class HeartbeatModule {}
