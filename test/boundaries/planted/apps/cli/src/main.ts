import './command.js';
