import './no-cycle.partner.js';
