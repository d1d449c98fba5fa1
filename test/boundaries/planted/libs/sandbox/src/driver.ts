import './kill/legal.js';
