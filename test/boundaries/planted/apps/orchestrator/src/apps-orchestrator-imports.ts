import '@capstan/link';
import '@capstan/localmesh';
