import '@capstan/evidence';
import '@capstan/platform';
import '../spawner.js';
