import { IsBoolean, IsInt, IsNotEmpty, Max, Min } from 'class-validator';
import { LocalFault } from '@capstan/protocol';
import { loadConfig } from './load-config.js';

class Sample {
  @IsInt({ message: 'SAMPLE_PORT must be a whole number' })
  @Min(1)
  @Max(65535)
  SAMPLE_PORT: number = 7400;

  @IsNotEmpty({ message: 'SAMPLE_DIR must name a directory' })
  SAMPLE_DIR: string = '';

  @IsBoolean({ message: 'SAMPLE_TLS must be true or false' })
  SAMPLE_TLS: boolean = false;
}

function faultOf(env: Record<string, string>, check?: (config: Sample) => string[]): LocalFault {
  try {
    loadConfig(Sample, env, check);
  } catch (error) {
    if (error instanceof LocalFault) return error;
    throw error;
  }
  throw new Error('nothing was refused');
}

describe('the configuration from the environment', () => {
  it('converts by declared type and fills in defaults', () => {
    expect(loadConfig(Sample, { SAMPLE_DIR: '/data', SAMPLE_PORT: '80', OTHER: 'x' })).toEqual({
      SAMPLE_DIR: '/data',
      SAMPLE_PORT: 80,
      SAMPLE_TLS: false,
    });
    expect(loadConfig(Sample, { SAMPLE_DIR: '/data', SAMPLE_TLS: '1' }).SAMPLE_TLS).toBe(true);
  });

  it('takes an empty variable for an unset one', () => {
    expect(loadConfig(Sample, { SAMPLE_DIR: '/data', SAMPLE_PORT: '' }).SAMPLE_PORT).toBe(7400);
  });

  it('names every fault at once', () => {
    const { code, sentence } = faultOf({ SAMPLE_PORT: 'eighty', SAMPLE_TLS: 'perhaps' });
    expect(code).toBe('config-invalid');
    for (const part of [
      'SAMPLE_PORT must be a whole number',
      'SAMPLE_DIR must name a directory',
      'SAMPLE_TLS must be true or false',
    ]) {
      expect(sentence).toContain(part);
    }
  });

  it('refuses combinations that must not boot, with their sentence', () => {
    expect(faultOf({ SAMPLE_DIR: '/data' }, () => ['SAMPLE_TLS is needed beyond loopback']).sentence).toContain(
      'SAMPLE_TLS is needed beyond loopback',
    );
  });
});
