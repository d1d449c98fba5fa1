/** A bare Nest route that answers a JSON body with 202: what any POST to the hub costs before Capstan does anything. */
import 'reflect-metadata';
import type { AddressInfo } from 'node:net';
import { Body, Controller, HttpCode, Module, Post } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { Server } from 'node:http';
import { serveParent } from '../child.ts';

class EchoController {
  post(body: unknown): unknown {
    return body;
  }
}
// eslint-disable-next-line @typescript-eslint/no-extraneous-class -- a Nest module whose decorator is applied by hand
class EchoModule {}

// Decorators are applied by hand: node runs this file by stripping its types, and they are no types.
const descriptor = Object.getOwnPropertyDescriptor(EchoController.prototype, 'post') ?? {};
Controller('echo')(EchoController);
Post()(EchoController.prototype, 'post', descriptor);
HttpCode(202)(EchoController.prototype, 'post', descriptor);
Body()(EchoController.prototype, 'post', 0);
Module({ controllers: [EchoController] })(EchoModule);

const app = await NestFactory.create(EchoModule, { logger: false });
await app.listen(0, '127.0.0.1');
const { port } = (app.getHttpServer() as Server).address() as AddressInfo;
await serveParent({ port });
await app.close();
