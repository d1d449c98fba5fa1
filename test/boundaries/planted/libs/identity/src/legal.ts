import '@capstan/protocol';
