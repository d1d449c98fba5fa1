import '@bufbuild/protobuf';
import '@nestjs/common';
import 'ioredis';
import 'pino';
