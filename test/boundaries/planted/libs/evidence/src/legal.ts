import '@capstan/identity';
import '@capstan/protocol';
