import { HttpException, ValidationPipe } from '@nestjs/common';
import type { ValidationError } from 'class-validator';

/** One wrong field of a request: its dotted path and what is wrong with it. */
export interface FieldError {
  field: string;
  message: string;
}

/** A request body or query whose fields are wrong; answered with 400 that names each of them. */
export class RequestFault extends HttpException {
  constructor(readonly errors: readonly FieldError[]) {
    super('The request is not valid.', 400);
  }
}

/** The validation of every HTTP body: unknown fields are refused, all wrong fields are named at once. */
export function requestValidation(): ValidationPipe {
  return new ValidationPipe({
    whitelist: true,
    forbidNonWhitelisted: true,
    transform: true,
    stopAtFirstError: false,
    exceptionFactory: (errors: ValidationError[]) =>
      new RequestFault(errors.flatMap((error) => fieldErrors(error, ''))),
  });
}

function fieldErrors(error: ValidationError, prefix: string): FieldError[] {
  const field = `${prefix}${error.property}`;
  const own = Object.values(error.constraints ?? {}).map((message) => ({ field, message }));
  return [...own, ...(error.children ?? []).flatMap((child) => fieldErrors(child, `${field}.`))];
}
