import '@capstan/protocol';
import '@capstan/identity';
import '@capstan/evidence';
import '@capstan/sandbox';
import '@capstan/platform';
