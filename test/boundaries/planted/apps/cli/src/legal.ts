import '@capstan/protocol';
import '@capstan/identity';
import '@capstan/link';
import '@capstan/evidence';

export const mesh = () => import('@capstan/localmesh');
