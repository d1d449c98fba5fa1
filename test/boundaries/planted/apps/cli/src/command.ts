import '@capstan/localmesh';
