import type { INestApplication } from '@nestjs/common';
import { DocumentBuilder, SwaggerModule } from '@nestjs/swagger';
import { metrics } from '@capstan/platform';
import { LinkAdapter } from './link/link.adapter.js';

/** What must be set on the application before it listens; the tests' hub is set up by the same words. */
export function configureHub(app: INestApplication): void {
  const http = app.getHttpAdapter().getInstance() as { disable(setting: string): void };
  http.disable('x-powered-by');
  // No client of ours asks conditionally, and a digest of each answer costs more than it saves.
  http.disable('etag');
  app.useWebSocketAdapter(new LinkAdapter(app));
  metrics.withProcessFigures();
  const description = new DocumentBuilder().setTitle('Capstan hub').setVersion('1').addBearerAuth().build();
  SwaggerModule.setup('docs', app, () => SwaggerModule.createDocument(app, description));
}
