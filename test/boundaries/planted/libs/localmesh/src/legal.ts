import '@capstan/protocol';
import '@capstan/identity';
