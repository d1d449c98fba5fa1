import { Controller, Get, Header } from '@nestjs/common';
import { metrics } from './metrics.js';

/** GET /metrics in Prometheus's text format. */
@Controller('metrics')
export class MetricsController {
  /** Figures of this process in Prometheus's text format. */
  @Get()
  @Header('content-type', metrics.registry.contentType)
  figures(): Promise<string> {
    return metrics.registry.metrics();
  }
}
