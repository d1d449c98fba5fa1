import '@capstan/protocol';
import '@capstan/identity';
import '@capstan/link';
import '@capstan/evidence';
import '@capstan/platform';
