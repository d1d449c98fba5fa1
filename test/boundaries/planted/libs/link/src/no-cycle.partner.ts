import type {} from './no-cycle.js';
