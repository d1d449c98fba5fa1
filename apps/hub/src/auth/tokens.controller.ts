import { Body, Controller, Delete, Get, HttpCode, Param, Post } from '@nestjs/common';
import { ApiBearerAuth, ApiOperation, ApiProperty, ApiTags } from '@nestjs/swagger';
import { Caller } from '@capstan/platform';
import { Matches } from 'class-validator';
import type { TokenView } from './token.store.js';
import { TokenService } from './token.service.js';

export class MakeTokenDto {
  @ApiProperty({ description: 'Whose it is: what this token orders is recorded under this name' })
  @Matches(/^[a-z0-9-]{1,63}$/, { message: 'name must match [a-z0-9-]{1,63}' })
  name!: string;
}

@ApiTags('auth')
@ApiBearerAuth()
@Controller('api/v1/auth/tokens')
export class TokensController {
  constructor(private readonly tokens: TokenService) {}

  @ApiOperation({ summary: 'Names of the tokens that open this API' })
  @Get()
  list(): TokenView[] {
    return this.tokens.all();
  }

  /**
   * @throws {WireFault} `name-taken`
   * @throws LocalFault `database-unavailable`
   */
  @ApiOperation({ summary: 'Make a token for another admin; it is told once, here' })
  @Post()
  make(@Body() { name }: MakeTokenDto, @Caller() by: string): Promise<TokenView & { token: string }> {
    return this.tokens.make(name, by);
  }

  /**
   * @throws {WireFault} `not-found`, `forbidden`: the one of the file
   * @throws LocalFault `database-unavailable`
   */
  @ApiOperation({ summary: 'Take a token back: it opens nothing from now on' })
  @HttpCode(204)
  @Delete(':name')
  async remove(@Param('name') name: string, @Caller() by: string): Promise<void> {
    await this.tokens.remove(name, by);
  }
}
