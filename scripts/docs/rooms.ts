import { existsSync, readdirSync, readFileSync } from 'node:fs';

const ROOT = new URL('../../', import.meta.url);
const ARCHITECTURE = 'docs/architecture.md';

/** Rooms, the folders of `apps/x/src` and `libs/x/src`, that the app's README or docs/architecture.md does not name. */
export function unnamedRooms(): string[] {
  const architecture = /^## Rooms$(.*?)^## /ms.exec(readFileSync(new URL(ARCHITECTURE, ROOT), 'utf8'))?.[1] ?? '';
  return ['apps', 'libs'].flatMap((kind) =>
    foldersIn(`${kind}/`).flatMap((owner) => {
      const place = `${kind}/${owner}`;
      const rooms = foldersIn(`${place}/src/`).filter((room) => room !== 'gen');
      return [
        ...unnamed(rooms, architecture, ARCHITECTURE, place),
        ...(kind === 'apps' ? unnamed(rooms, readmeOf(place), `${place}/README.md`, place) : []),
      ];
    }),
  );
}

function unnamed(rooms: readonly string[], page: string, file: string, place: string): string[] {
  return rooms.flatMap((room) => (page.includes(`\`${room}\``) ? [] : [`${file} does not name ${place}/src/${room}`]));
}

function readmeOf(place: string): string {
  const file = new URL(`${place}/README.md`, ROOT);
  return existsSync(file) ? readFileSync(file, 'utf8') : '';
}

function foldersIn(path: string): string[] {
  const place = new URL(path, ROOT);
  if (!existsSync(place)) return [];
  return readdirSync(place, { withFileTypes: true }).flatMap((each) => (each.isDirectory() ? [each.name] : []));
}
