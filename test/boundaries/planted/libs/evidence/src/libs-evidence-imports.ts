import '@capstan/link';
import '@capstan/sandbox';
import '@capstan/platform';
import '@capstan/localmesh';
