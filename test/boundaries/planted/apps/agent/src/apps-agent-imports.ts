import '@capstan/identity';
import '@capstan/link';
import '@capstan/evidence';
import '@capstan/sandbox';
import '@capstan/platform';
import '@capstan/localmesh';
