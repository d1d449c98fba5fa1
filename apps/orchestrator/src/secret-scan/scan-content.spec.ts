import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { proves } from '../../../../test/support/proves.js';
import { fingerprintsOf } from './fingerprints.js';
import { scanContent } from './scan-content.js';

const key = randomBytes(32);
const scan = (content: string | Buffer, issued: string[] = []) =>
  scanContent(Buffer.from(content as string), { issued: issued.flatMap((value) => fingerprintsOf(value, key)), key });
const rulesIn = async (content: string | Buffer, issued: string[] = []) =>
  (await scan(content, issued)).map(({ line, rule }) => `${String(line)} ${rule}`);

// Put together here, so that this file holds none of them.
const ANTHROPIC = `sk-ant-api03-${'a1B2_c3D'.repeat(11)}AA`;
const GITHUB = ['ghp', 'wWPw5k4aXcaT4fNP0UcnZwJUVFk6LO0pINUx'].join('_');
const ED25519 = generateKeyPairSync('ed25519').privateKey;
const PEM = ED25519.export({ format: 'pem', type: 'pkcs8' }).toString();
const DER = ED25519.export({ format: 'der', type: 'pkcs8' }).toString('base64');
const RSA = generateKeyPairSync('rsa', { modulusLength: 2048 })
  .privateKey.export({ format: 'pem', type: 'pkcs1' })
  .toString();
const JWT = [
  { alg: 'HS256', typ: 'JWT' },
  { sub: '1234567890', name: 'Ada' },
]
  .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
  .concat(randomBytes(32).toString('base64url'))
  .join('.');
const SEED = randomBytes(32).toString('hex');
const percent = (text: string) => text.replace(/[^a-z]/g, (letter) => `%${letter.charCodeAt(0).toString(16)}`);
const base64 = (text: string) => Buffer.from(text).toString('base64');

describe('what is taken for a secret', () => {
  it.each([
    ['an Anthropic key', `key = ${ANTHROPIC}`, 'anthropic-key'],
    ['a GitHub token', GITHUB, 'github'],
    ['an Ed25519 key', PEM, 'private-key'],
    ['an RSA key', RSA, 'private-key'],
    ['a key in a string', JSON.stringify({ key: PEM }), 'private-key'],
    ['a key without its header', `"${DER}"`, 'ed25519-key'],
    ['a token that is signed', `Authorization: Bearer ${JWT}`, 'jwt'],
    ['a seed in hex', `signingKey: '${SEED}'`, 'hex-seed'],
    ['a seed with its prefix', `PRIVATE_KEY=0x${SEED}`, 'hex-seed'],
    ['a quoted password', `const password = "hunter22!";`, 'password'],
    ['a password in JSON', `{"dbPassword": "Tr0ub4dor&3"}`, 'password'],
    ['credentials in a URL', 'https://ada:s3cretPass99@git.example.org/x.git', 'basicauth'],
    ['base64', `data: ${base64(`token=${ANTHROPIC}`)}`, 'anthropic-key'],
    ['base64 in lines', base64(`${'x'.repeat(90)} ${ANTHROPIC}`).replace(/.{60}/g, '$&\n'), 'anthropic-key'],
    ['base64 of base64', base64(base64(`x ${ANTHROPIC}`)), 'anthropic-key'],
    [
      'pieces of a string',
      `key: "${ANTHROPIC.slice(0, 4)}" + '${ANTHROPIC.slice(4, 30)}' +\n   "${ANTHROPIC.slice(30)}"`,
      'anthropic-key',
    ],
    ['hex', Buffer.from(PEM).toString('hex'), 'private-key'],
    ['percent signs', `?k=${percent(ANTHROPIC)}`, 'anthropic-key'],
    ['a binary file', Buffer.concat([Buffer.alloc(100), Buffer.from(ANTHROPIC)]), 'anthropic-key'],
    ['UTF-16', Buffer.from(`\ufeffkey ${ANTHROPIC}`, 'utf16le'), 'anthropic-key'],
    ['a file that asks not to be scanned', `// secretlint-disable\n${GITHUB}`, 'github'],
  ])('%s', (_, content, rule) =>
    proves('ORC-120', async () => {
      expect(await rulesIn(content)).toEqual(expect.arrayContaining([expect.stringMatching(new RegExp(` ${rule}$`))]));
    })(),
  );

  it.each([
    ['a header of PEM in a parser', `const begin = '-----BEGIN PRIVATE KEY-----';\nconst rest = 1;`],
    ['a digest', `"integrity": "sha512-${randomBytes(64).toString('base64')}", sha256: '${SEED}'`],
    ['a name of a secret', `password: 'database-password', secret: "\${SECRET}", apiKey: process.env['KEY']`],
    ['an example', `password = "changeme-1"`],
    ['an id', `commit ${SEED.slice(0, 40)}\nuuid 01890a5d-ac96-774b-bcce-b302099a8057`],
    ['noise', randomBytes(100_000)],
    ['a picture in a page', `<img src="data:image/png;base64,${randomBytes(3000).toString('base64')}">`],
    ['nothing', ''],
  ])('not %s', async (_, content) => {
    expect(await rulesIn(content)).toEqual([]);
  });
});

describe('a file that is made to be slow to scan', () => {
  it.each([
    ['joints', '"+"'.repeat(60_000)],
    ['signs of base64', '+'.repeat(200_000)],
    ['one long line', 'a'.repeat(500_000)],
    ['percent signs', '%41'.repeat(60_000)],
    ['beginnings of tokens', 'eyJaaaaaaaaaa.'.repeat(10_000)],
    ['beginnings of keys', '-----BEGIN PRIVATE KEY-----'.repeat(8_000)],
    ['passwords without an end', `password = "${'x'.repeat(190)}`.repeat(1_000)],
    ['short lines', 'QUJDREVGR0hJSktMTU5P\n'.repeat(10_000)],
  ])('%s', async (_, content) => {
    expect(Array.isArray(await scan(content, ['a secret that is not there']))).toBe(true);
  });
});

describe('what was issued', () => {
  const SECRET = 'orchid/7+Quay=mast harbour"line';
  const reversed = SECRET.split('').reverse().join('');
  it.each([
    ['as it is', SECRET],
    ['in base64', base64(SECRET)],
    ['within what is base64', base64(`a${SECRET}b`)],
    ['within what is base64, moved', base64(`ab${SECRET}`)],
    ['in base64 for URLs', Buffer.from(SECRET).toString('base64url')],
    ['in hex', Buffer.from(SECRET).toString('hex')],
    ['in large hex', Buffer.from(SECRET).toString('hex').toUpperCase()],
    ['for a URL', encodeURIComponent(SECRET)],
    ['in a form', new URLSearchParams({ q: SECRET }).toString()],
    ['in percent signs', Buffer.from(SECRET).toString('hex').replace(/../g, '%$&')],
    ['in JSON', JSON.stringify({ x: SECRET })],
    ['backwards', reversed],
    ['backwards in base64', base64(reversed)],
    ['in pieces', `"${SECRET.slice(0, 9)}" +\n  "${SECRET.slice(9, 20)}" + '${SECRET.slice(20)}'`],
    ['one letter a line', SECRET.split('').join('\n')],
    ['in UTF-16', Buffer.from(SECRET, 'utf16le')],
    ['in a binary file', Buffer.concat([randomBytes(1000), Buffer.alloc(3), Buffer.from(SECRET)])],
  ])('is known again %s', (_, written) =>
    proves('ORC-120', async () => {
      const content = Buffer.concat([Buffer.from('line 1\n'), Buffer.from(written as string), Buffer.from('\nend\n')]);
      const found = await rulesIn(content, ['another secret', SECRET]);
      expect(found).toContainEqual(expect.stringMatching(/issued-secret$/));
      expect(await rulesIn(content, ['another secret'])).not.toContainEqual(expect.stringMatching(/issued-secret$/));
    })(),
  );

  it('is kept as what does not tell it', () => {
    const kept = fingerprintsOf(SECRET, key);
    expect(kept.length).toBeGreaterThan(10);
    for (const each of [SECRET, base64(SECRET), Buffer.from(SECRET).toString('hex')])
      expect(
        JSON.stringify(kept) + kept.map(({ digest }) => Buffer.from(digest).toString('latin1')).join(),
      ).not.toContain(each);
  });

  it('is not looked for where it is too short to mean anything', () => {
    expect(fingerprintsOf('on', key)).toEqual([]);
  });
});
