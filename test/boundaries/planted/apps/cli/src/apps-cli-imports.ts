import '@capstan/sandbox';
import '@capstan/platform';
