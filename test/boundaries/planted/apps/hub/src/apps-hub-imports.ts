import '@capstan/sandbox';
import '@capstan/localmesh';
