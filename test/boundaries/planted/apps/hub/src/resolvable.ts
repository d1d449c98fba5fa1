import '@capstan/nowhere';
import './nowhere.js';
