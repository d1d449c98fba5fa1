import './reaper/main.js';
