import '@capstan/protocol';
import '@capstan/identity';
import '@capstan/sandbox';
